"""Code and documents generated from what a repository says of its models.

Each generator takes interfaces (:mod:`modelport.repository.interface`) and gives the content of
files, by path; :mod:`modelport.codegen.files` writes them, or says how those on disk differ.
"""
