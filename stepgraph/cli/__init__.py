"""The command lines: `starter` for operators, `worker` for deployers."""
