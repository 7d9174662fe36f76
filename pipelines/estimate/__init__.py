"""What a build will cost, before it runs: seconds, memory and disk, by shipped rates and by what builds here took."""
