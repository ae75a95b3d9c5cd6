"""Several worker processes where one core is not enough: each takes its share of the streams, and one looks after them.

`share` says whose a stream is, `link` is how the two sides talk, `supervisor` starts workers and ends them, and
`worker` is what they run. They have the state in common, and nothing else.
"""
