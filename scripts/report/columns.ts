import type { Cell } from '../matrix/types.ts';

/** One column of the matrix: a target on one port and protocol. */
export interface Column {
  /** What all cells of the column share: the id without its vantage point. */
  readonly key: string;
  /** One character over the column; the legend explains it. */
  readonly mark: string;
}

/** Neighbouring columns under one two-line heading. */
export interface ColumnGroup {
  readonly title: string;
  readonly subtitle: string;
  readonly columns: readonly Column[];
  /** What the marks mean, one text per column. */
  readonly names: readonly string[];
}

/** A cell's id without the vantage point it starts from. */
export function columnKey(cell: Cell): string {
  return `${cell.to}:${cell.port}/${cell.protocol}`;
}

/** The columns of a matrix, grouped: pods, names, ClusterIPs, each node port, external IPs; in the order of the cells. */
export function groupColumns(cells: readonly Cell[]): readonly ColumnGroup[] {
  const groups = new Map<string, { title: string; subtitle: string; cells: Map<string, Cell> }>();
  for (const cell of cells) {
    const { title, subtitle } = headingOf(cell);
    const group = groups.get(`${title} ${subtitle}`) ?? { title, subtitle, cells: new Map<string, Cell>() };
    groups.set(`${title} ${subtitle}`, group);
    if (!group.cells.has(columnKey(cell))) group.cells.set(columnKey(cell), cell);
  }
  return [...groups.values()].map(({ title, subtitle, cells }) => {
    const columns = [...cells.entries()].map(([key], index) => ({ key, mark: markOf(index) }));
    return { title, subtitle, columns, names: [...cells.values()].map(nameOf) };
  });
}

function headingOf(cell: Cell): { readonly title: string; readonly subtitle: string } {
  switch (cell.kind) {
    case 'pod':
      return { title: 'pod IP', subtitle: cell.protocol };
    case 'name':
      return { title: 'name', subtitle: cell.protocol };
    case 'cluster-ip':
      return { title: 'ClusterIP', subtitle: cell.protocol };
    case 'node-port':
      return { title: 'NodePort', subtitle: `${cell.port}/${cell.protocol}` };
    case 'external-ip':
      return { title: cell.address, subtitle: `${cell.port}/${cell.protocol}` };
  }
}

function nameOf(cell: Cell): string {
  switch (cell.kind) {
    case 'pod':
      return cell.to.replace(/^pod\//, '');
    case 'name':
      return cell.to;
    case 'node-port':
      return cell.node ?? cell.to;
    case 'cluster-ip':
    case 'external-ip':
      return cell.service ?? cell.to;
  }
}

/** 1-9, then letters: enough for the largest lab, which has 20 workers and a control plane. */
function markOf(index: number): string {
  return (index + 1).toString(36).slice(-1);
}
