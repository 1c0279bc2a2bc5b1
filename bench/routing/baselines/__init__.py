"""Other routers' rules, written from their descriptions. Nothing here comes from the gateway's own routing.

What they are given is generous: load is exact and immediate, and every first token is seen.
"""
