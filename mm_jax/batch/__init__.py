"""mm_batch: very many items in independent shards, each item done exactly once."""
