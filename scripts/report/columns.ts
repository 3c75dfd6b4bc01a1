import { type Cell, targetId } from '../matrix/types.ts';

/** One column of the matrix: a target on one port and protocol. */
export interface Column {
  /** What all cells of the column share: targetId. */
  readonly key: string;
  /** One character over the column; the legend explains it. */
  readonly mark: string;
}

/** Neighbouring columns of the same kind, port and protocol. */
export interface ColumnGroup {
  /** The first line of the heading, shared with neighbouring groups of the same kind. */
  readonly title: string;
  /** The second line: short, because it stands over a few columns. */
  readonly label: string;
  /** The same in full, for the legend. */
  readonly subtitle: string;
  readonly columns: readonly Column[];
  /** What the marks mean, one text per column. */
  readonly names: readonly string[];
}

/** The columns of a matrix, grouped: pods, names, ClusterIPs, each node port, external IPs; in the order of the cells. */
export function groupColumns(cells: readonly Cell[]): readonly ColumnGroup[] {
  const groups = new Map<string, { heading: Heading; cells: Map<string, Cell> }>();
  for (const cell of cells) {
    const heading = headingOf(cell);
    const key = `${heading.title} ${heading.subtitle}`;
    const group = groups.get(key) ?? { heading, cells: new Map<string, Cell>() };
    groups.set(key, group);
    if (!group.cells.has(targetId(cell))) group.cells.set(targetId(cell), cell);
  }
  const grouped = [...groups.values()].map(({ heading, cells }) => ({
    ...heading,
    columns: [...cells.keys()].map((key, index) => ({ key, mark: markOf(index) })),
    names: [...cells.values()].map(nameOf),
  }));
  // TCP and UDP of one kind side by side, whatever the order of the services.
  const titles = [...new Set(grouped.map(({ title }) => title))];
  return titles.flatMap((title) => grouped.filter((group) => group.title === title));
}

type Heading = Pick<ColumnGroup, 'title' | 'label' | 'subtitle'>;

function headingOf({ kind, address, port, protocol }: Cell): Heading {
  if (protocol === 'icmp') {
    const label = { 'cluster-ip': 'ClusterIP', 'external-ip': 'external' }[kind as string] ?? kind;
    return { title: 'ping', label, subtitle: label };
  }
  const subtitle = `${port}/${protocol}`;
  switch (kind) {
    case 'pod':
      return { title: 'pod IP', label: protocol, subtitle: protocol };
    case 'name':
      return { title: 'name', label: protocol, subtitle: protocol };
    case 'cluster-ip':
      return { title: 'ClusterIP', label: protocol, subtitle: protocol };
    case 'node-port':
      return { title: 'NodePort', label: `${port}`, subtitle };
    case 'host-port':
      return { title: 'hostPort', label: `${port}`, subtitle };
    case 'external-ip':
    case 'node':
      return { title: address, label: `${port}`, subtitle };
  }
}

function nameOf(cell: Cell): string {
  switch (cell.kind) {
    case 'pod':
    case 'host-port':
      return cell.to.replace(/^pod\//, '');
    case 'name':
      return cell.to;
    case 'node':
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
