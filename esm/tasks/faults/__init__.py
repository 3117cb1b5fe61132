"""What may spoil results: findings about texts, labels and splits."""
