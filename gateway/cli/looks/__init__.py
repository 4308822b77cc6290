"""What ``doctor`` looks at: each file looks at things of one kind, and judges apart from that what it found."""
