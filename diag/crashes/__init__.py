"""Crashes, joined: lines of several logs -> one event each, events -> groups. Pure."""
