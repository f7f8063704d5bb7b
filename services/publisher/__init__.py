"""publisher: encoded packets to files and to servers, without encoding them again."""
