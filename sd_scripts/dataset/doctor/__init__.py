"""The doctor: what is wrong with the pictures of a data set, in words, and what to do about it."""
