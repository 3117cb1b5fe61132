"""The pool: a folder of source tasks with their maps; build, complete, pack, verify, share."""
