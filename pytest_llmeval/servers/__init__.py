"""Model servers as processes of the operating system: started, watched, restarted, never orphaned.

`Server` is the door. Between it and llama-server stands one guard process per server, which ends
the server whatever happens to us.
"""
