"""Engines' KV events on ZMQ -> `BlocksStored`, `BlocksRemoved`, `CacheCleared`, `FeedReported`."""

from extproc.fleet.feeds.kv_events.subscriber import KvEvents

__all__ = ["KvEvents"]
