"""mm_batch: very many items, in shards that know nothing of each other, and nothing done twice."""
