"""The command line: words come in, texts and exit codes go out. It parses, prints, and decides nothing."""
