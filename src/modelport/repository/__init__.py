"""The model repository on disk: config.pbtxt, versions, manifests, publishing, and `doctor`."""
