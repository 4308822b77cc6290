"""What requests and answers are made of: HTTP, forms, events, errors, and the options of an answer."""
