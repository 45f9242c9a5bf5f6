"""The demo: a real RAG application under traffic, against a simulated OpenAI-compatible endpoint, that counts what it did."""
