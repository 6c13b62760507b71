"""Which Temporal server is used: the one configured, one on this machine, or an embedded one.

`connection` decides, `embedded` starts and shares the embedded one, `keeper` is the process that keeps it.
"""
