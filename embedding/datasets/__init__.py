"""One reader for each data set, in the published file formats and from reeldex stores."""
