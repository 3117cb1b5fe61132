"""What trained models are for: label new texts, export plain Transformers models."""
