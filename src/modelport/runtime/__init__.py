"""Finding, starting, watching and stopping tritonserver.

``toolchain`` says which tritonserver is used and fetches it when there is none;
``server`` starts it on a model repository; ``guardian`` is the small process
between the two that leaves no orphan behind; ``watchdog`` sends every model its
own sample while it serves.
"""
