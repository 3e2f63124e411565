"""Load tests: what a model can take, measured before users find out.

Imported by dotted path, as each needs another part of the ``[perf]`` extra::

    modelport.perf.result      what a load test found: `result.json`
    modelport.perf.objectives  "p99 <= 20 ms at 200/s", read and judged
    modelport.perf.report      a page, pictures and tables from results
    modelport.perf.compare     two things measured in turn: ratios, bounds, baselines
    modelport.perf.simulation  Triton's batcher and the machine's cores under a load, simulated
    modelport.perf.tuning      the cheapest settings that meet objectives
    modelport.perf.capacity    how many servers a rate takes
"""
