"""The demo: a RAG application under traffic, against a simulated OpenAI-compatible endpoint, that counts its work."""
