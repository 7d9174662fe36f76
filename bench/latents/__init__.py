"""What latents keep of their texts, and what they cost; see `bench.latents.__main__`."""
