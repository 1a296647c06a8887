"""HTTP/2: frames to delegate calls, and answers to frames. RFC 9113 and RFC 7541, server side."""
