"""Arguments of calls in the rows that are shown: as many as a call has, and with their names for people."""

from __future__ import annotations

from collections.abc import Sequence

from sonde.enrich.syscall_arguments import ARGUMENT, Arguments, Parameter, parameters_of
from sonde.enrich.syscall_name import ABI, NATIVE, SYSCALL
from sonde.records.model import RecordBatch
from sonde.views import cell
from sonde.views.page import Row


def with_arguments(rows: list[Row], batch: RecordBatch) -> list[Row]:
    """Put ``Arguments`` in the place of registers; the rows are those of the batch, in its order, and are changed."""
    syscalls, abis = batch.schema.having(SYSCALL), batch.schema.having(ABI)
    if not rows or not syscalls:
        return rows
    names = batch[syscalls[0].name].tolist()
    tables = batch[abis[0].name].tolist() if abis else [NATIVE] * len(rows)
    for column in batch.schema.having(ARGUMENT):
        if column.name in rows[0]:
            for row, name, abi in zip(rows, names, tables, strict=True):
                row[column.name] = Arguments(row[column.name], parameters_of(name, abi))
    return rows


def words(values: Sequence[int]) -> str:
    """Write arguments for a person: ``dfd=-100, filename=0x7ffe40``."""
    parameters = values.parameters if isinstance(values, Arguments) else None
    if parameters is None:
        return cell.numbers(values)
    return ", ".join(
        f"{parameter.name}={_word(parameter, value)}"
        for parameter, value in zip(parameters, values, strict=True)
    )


def _word(parameter: Parameter, register: int) -> str:
    value = parameter.value(register)
    if parameter.is_address:
        return f"{value:#x}" if value else "NULL"
    return str(value) if value < 1 << 16 else f"{value:#x}"
