"""Pure functions from attention arrays to smaller arrays. They do not know where the arrays come from."""
