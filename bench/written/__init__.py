"""What a search finds in written memory: passages of documents, and dates of conversations."""
