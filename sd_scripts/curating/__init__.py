"""Jobs that look after pictures: examining a data set, preparing a new one. Free of torch."""
