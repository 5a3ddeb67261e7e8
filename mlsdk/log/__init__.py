"""The byte format of a run's log: frames, one writer's segment, decoding, sealing. See docs/format.md."""
