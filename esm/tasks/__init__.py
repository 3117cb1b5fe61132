"""Tasks: from files, folders and Hub ids to texts, labels and splits."""
