"""The command line: the app, options that verbs share, one file per verb, and the demo."""
