"""From a base model and texts to embeddings: loading, tokens, chunks, pooling, the cache."""
