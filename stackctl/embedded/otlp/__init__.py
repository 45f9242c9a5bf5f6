"""OTLP in: the wire (gRPC, HTTP, protobuf, JSON) and its flattening to Arrow columns."""
