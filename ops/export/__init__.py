"""`threadwax export`: questions and answers as files, for training and for analysis."""
