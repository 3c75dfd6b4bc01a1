// Opens a cell's details, moves through the matrix by keyboard, follows links to cells, and opens everything for print.
// Runs after cell-details.js, in the same script element.
(() => {
  const { cells, cellDetails, make } = window.labReport;
  const panel = document.getElementById('panel');
  const grid = document.querySelector('table.matrix');
  const PREFIX = 'cell-';
  let openCell = null;

  // The panel

  function gridCell(id) {
    return document.getElementById(PREFIX + id);
  }

  function open(id, { focusPanel, block = 'nearest' }) {
    const cell = cells.get(id);
    if (!cell) return;
    mark(openCell, false);
    openCell = id;
    const close = make('button', 'close', '✕');
    close.type = 'button';
    close.setAttribute('aria-label', 'Close');
    close.addEventListener('click', closePanel);
    panel.replaceChildren(close, cellDetails(cell, 'panel-title'));
    panel.hidden = false;
    panel.scrollTop = 0;
    document.body.classList.add('has-panel');
    mark(id, true);
    history.replaceState(null, '', `#${PREFIX}${encodeURIComponent(id)}`);
    const place = gridCell(id);
    if (place) {
      makeReachable(place);
      place.scrollIntoView({ block, inline: 'nearest' });
    }
    if (focusPanel) panel.focus({ preventScroll: true });
  }

  function closePanel() {
    if (openCell === null) return;
    const place = gridCell(openCell);
    mark(openCell, false);
    openCell = null;
    panel.hidden = true;
    panel.replaceChildren();
    document.body.classList.remove('has-panel');
    history.replaceState(null, '', location.pathname + location.search);
    place?.focus();
  }

  function mark(id, isOpen) {
    const place = id === null ? null : gridCell(id);
    if (isOpen) place?.setAttribute('aria-current', 'true');
    else place?.removeAttribute('aria-current');
  }

  /** What the address points to; nothing for a link that somebody mistyped. */
  function target() {
    try {
      return decodeURIComponent(location.hash.slice(1));
    } catch {
      return '';
    }
  }

  function openFromHash({ focusPanel }) {
    if (target().startsWith(PREFIX)) open(target().slice(PREFIX.length), { focusPanel, block: 'center' });
  }

  // The grid: one cell can be reached with Tab, the arrow keys move

  function makeReachable(place) {
    for (const other of grid.querySelectorAll('td[tabindex="0"]')) other.tabIndex = -1;
    place.tabIndex = 0;
  }

  function move(place, rows, columns) {
    const row = place.parentElement;
    const wanted = place.cellIndex + columns;
    const body = row.parentElement.rows;
    const target = body[row.sectionRowIndex + rows]?.cells[wanted];
    return target?.matches('td[tabindex]') ? target : null;
  }

  function edge(place, last, ofGrid) {
    const rows = place.parentElement.parentElement.rows;
    const row = ofGrid ? rows[last ? rows.length - 1 : 0] : place.parentElement;
    const tds = row.querySelectorAll('td[tabindex]');
    return tds[last ? tds.length - 1 : 0] ?? null;
  }

  const KEYS = {
    ArrowUp: (place) => move(place, -1, 0),
    ArrowDown: (place) => move(place, 1, 0),
    ArrowLeft: (place) => move(place, 0, -1),
    ArrowRight: (place) => move(place, 0, 1),
    Home: (place, event) => edge(place, false, event.ctrlKey),
    End: (place, event) => edge(place, true, event.ctrlKey),
  };

  function lightColumn(place) {
    for (const lit of grid.querySelectorAll('th.lit')) lit.classList.remove('lit');
    if (place === null) return;
    // The corner spans the heading's rows, so the last row of it has one cell less.
    grid.tHead.rows[2]?.cells[place.cellIndex - 1]?.classList.add('lit');
  }

  if (grid) {
    grid.addEventListener('keydown', (event) => {
      const place = event.target.closest('td[tabindex]');
      if (!place || event.altKey || event.metaKey) return;
      if (event.key === 'Enter' || event.key === ' ') {
        event.preventDefault();
        open(place.id.slice(PREFIX.length), { focusPanel: true });
        return;
      }
      const target = KEYS[event.key]?.(place, event);
      if (target === undefined) return;
      event.preventDefault();
      if (target === null) return;
      makeReachable(target);
      target.focus();
      target.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    });
    grid.addEventListener('click', (event) => {
      const place = event.target.closest('td[tabindex]');
      if (place) open(place.id.slice(PREFIX.length), { focusPanel: false });
    });
    grid.addEventListener('mouseover', (event) => lightColumn(event.target.closest('td[tabindex]')));
    grid.addEventListener('mouseleave', () => lightColumn(null));
    grid.addEventListener('focusin', (event) => lightColumn(event.target.closest('td[tabindex]')));
  }

  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') closePanel();
  });
  // A link to the cell that is open already changes nothing in the address, so the click itself is what counts.
  document.addEventListener('click', (event) => {
    const link = event.target.closest(`a[href^="#${PREFIX}"]`);
    if (!link) return;
    event.preventDefault();
    open(decodeURIComponent(link.getAttribute('href').slice(1 + PREFIX.length)), { focusPanel: true });
  });
  addEventListener('hashchange', () => openFromHash({ focusPanel: true }));

  // A group that holds what the address points to must be open to be seen.
  function openTarget() {
    const id = target();
    const group = id === '' ? null : document.getElementById(id)?.closest('details');
    if (!group || group.open) return;
    group.open = true;
    document.getElementById(id).scrollIntoView({ block: 'center' });
  }

  addEventListener('hashchange', openTarget);
  openTarget();
  openFromHash({ focusPanel: false });
  // The browser itself scrolls to the cell once the page is loaded, but to the edge of the window.
  addEventListener('load', () => requestAnimationFrame(() => openFromHash({ focusPanel: false })));
})();
