"""hf-dataset-selector as we measure it: its environment, what it is given, what it is asked."""
