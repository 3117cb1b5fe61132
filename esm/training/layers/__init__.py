"""Trainable layers inside an encoder: bottlenecks, LoRA and IA3, prompts."""
