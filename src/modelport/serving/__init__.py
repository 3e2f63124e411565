"""What runs inside the server: shared preprocessing and the glue of Python backends.

Imported by Triton's Python stubs, by builders and by tests, so that training
and serving see the same function. Needs numpy and Pillow only, and must run on
numpy 1.26, which the embedded server is bound to.
"""
