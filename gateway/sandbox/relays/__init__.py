"""The simulated routes that a gateway relays: embeddings, completions, moderations, speech, transcripts."""
