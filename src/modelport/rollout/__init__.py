"""Which versions serve: promotion and roll back, through the running server and on disk.

::

    change     what must change together, read from the manifests
    gates      figures of the new version against those of the version that serves
    trial      both on private servers: right answers, and how fast
    switch     the running server takes the new versions, without losing a request
    intent     a note of what is about to change, while server and disk may differ
    history    the log of promotions: append-only, each entry bound to the one before
    outlook    what a promotion would change, and what stands against it
    promotion  the way through all of these, in an order that a crash survives
    cleaning   what may be removed
"""
