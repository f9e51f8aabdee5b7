"""python -m linmem_langgraph"""

from linmem_langgraph.cli import main

main()
