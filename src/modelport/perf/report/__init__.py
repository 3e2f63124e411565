"""What people see of results: rows of tables, pictures, and a page that stands alone.

::

    modelport.perf.report.page     the page, and pictures for other pages
    modelport.perf.report.rows     figures as text, for the terminal and the page alike
    modelport.perf.report.charts   what is drawn, each chart from one result
    modelport.perf.report.drawing  how it is drawn: colours of day and night, SVG and PNG
"""
