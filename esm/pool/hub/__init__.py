"""Maps on the Hugging Face Hub: fetch those that are there, publish one's own."""
