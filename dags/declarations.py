"""Shows faulty declarations, with every fault, as this file's import error in Airflow; the valid ones have DAGs."""

from airflow.sdk import get_parsing_context

from pipelines.errors import Refused
from practices._connections.installation import load_catalog

if get_parsing_context().dag_id is None and (refused := load_catalog().refused):
    faults = [f"include/{file}: {'; '.join(error.reasons) or error.subject}" for file, error in refused.items()]
    raise Refused(f"{len(faults)} declaration(s) are refused; correct them and save", faults)
