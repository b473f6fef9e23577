"""A small world in which truth is known: procedural faces with named factors.

The renderer draws them, the bundled generator, CLIP, encoder and probes are trained on them, and
the probes measure what an edit did.  The pipeline itself never sees a factor.
"""
