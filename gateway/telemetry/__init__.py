"""What operators read: metrics and the log, with secrets struck out."""
