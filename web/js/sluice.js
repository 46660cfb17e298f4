// What pages of the console do besides what HTML does. Everything here improves a page that works without it.
// No inline handlers, no eval: the policy is script-src 'self'.
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const on = (type, handler) => document.addEventListener(type, handler);
  const meta = (name) => find(`meta[name="${name}"]`)?.content ?? '';
  const icon = (name) => `${meta('icons')}#${name}`;

  // Toasts: what just happened. The page comes with one, or the script says it.
  const TOAST_MS = 5000;
  function expire(element) {
    let timer;
    const start = () => { timer = setTimeout(() => element.remove(), TOAST_MS); };
    const stop = () => clearTimeout(timer);
    element.addEventListener('mouseenter', stop);
    element.addEventListener('focusin', stop);
    element.addEventListener('mouseleave', start);
    element.addEventListener('focusout', start);
    start();
  }
  function toast(text, { detail = '', error = false } = {}) {
    const box = find('#toasts');
    if (!box) return;
    // What is said again takes the place of what was said before.
    all('.toast', box).find((other) => find('b', other)?.textContent === text)?.remove();
    const element = document.createElement('div');
    element.className = error ? 'toast err' : 'toast';
    element.innerHTML = '<svg class="icon" aria-hidden="true"><use/></svg><div><b></b></div><button type="button" data-dismiss>Dismiss</button>';
    find('use', element).setAttribute('href', icon(error ? 'circle-alert' : 'circle-check'));
    find('b', element).textContent = text;
    if (detail) find('div', element).append(Object.assign(document.createElement('p'), { textContent: detail }));
    box.append(element);
    if (!error) expire(element);
  }
  all('#toasts .toast').forEach(expire);

  // No connection: said for as long as it lasts.
  const offline = find('#offline');
  const showOffline = () => { if (offline) offline.hidden = navigator.onLine; };
  addEventListener('online', showOffline);
  addEventListener('offline', showOffline);
  showOffline();

  // htmx: the session's token on what changes something, and a word when nothing came of it.
  const looks = (event) => /^(GET|HEAD)$/i.test(event.detail?.ctx?.request?.method ?? '');
  const unknown = (event) => looks(event) ? 'Try again in a moment.' : 'Load the page again and look whether your change was made.';
  on('htmx:config:request', (event) => {
    const request = event.detail.ctx.request;
    if (!looks(event)) request.headers['X-CSRF-Token'] = meta('csrf');
    // What a page repeats by itself does not keep anybody signed in.
    if (repeats(event.detail.ctx)) request.headers['X-Poll'] = '1';
  });
  const repeats = (ctx) => /^every/.test(ctx?.sourceElement?.getAttribute('hx-trigger') ?? '');
  const streams = (ctx) => ctx?.sourceElement?.hasAttribute('hx-sse:connect');
  // Nobody asked for what the page asks for by itself, and the bar above says it when there is no connection.
  function fault(ctx, text, detail) {
    if (streams(ctx)) navigator.onLine ? tellLive('fail', 'Stopped') : lost();
    else if (!repeats(ctx) && (offline?.hidden ?? true)) toast(text, { detail, error: true });
  }
  on('htmx:error', (event) => fault(event.detail.ctx, 'Could not reach Sluice', `Check your connection. ${unknown(event)}`));
  on('htmx:response:error', (event) => {
    const ctx = event.detail.ctx, response = ctx?.response;
    if (response?.status === 429) fault(ctx, 'Too many requests', `Try again in ${response.headers?.get?.('Retry-After') ?? 'a few'} seconds.`);
    else if ((response?.status ?? 0) >= 500 || streams(ctx)) fault(ctx, 'That did not work', unknown(event));
  });
  // A stream says in words whether it still is one. It is not asked for again by whom the server refuses.
  let stream;
  function tellLive(colour, text) {
    const status = find('[data-live] .status');
    if (!status) return;
    find('.dot', status).className = `dot ${colour}`;
    status.lastChild.textContent = text;
  }
  // The connection may go before the stream has one.
  const tail = () => find('[data-keep][hx-sse\\:connect]');
  function lost() {
    if (tail()) tellLive('wait', 'Reconnecting');
    stream?.reader?.cancel();
  }
  on('htmx:sse:after:connection', (event) => {
    stream = event.detail.connection;
    if (navigator.onLine) tellLive('live', 'Live');
    else setTimeout(lost);
  });
  on('htmx:sse:error', (event) => {
    const { status, connection } = event.detail;
    if (status >= 400 && status < 500 && status !== 429) {
      connection.config.reconnect = false;
      tellLive('fail', status === 401 ? 'Stopped: you are signed out' : 'Stopped');
    } else tellLive('wait', 'Reconnecting');
  });
  addEventListener('offline', lost);
  addEventListener('online', () => {
    if (stream) stream.delayCanceller?.();
    else if (tail()) location.reload();
  });
  // After a swap the focus goes to what is wrong, if something is; else it stays.
  const focusWrong = (root) => find('[aria-invalid="true"], [data-focus]', root)?.focus();
  // What was swapped may be gone by now, or be named only; whoever is in a dialog stays in it.
  on('htmx:after:swap', (event) => { const target = event.detail.ctx?.target; focusWrong(target?.isConnected ? target : find('dialog[open]') ?? document); });
  focusWrong(document);

  const actions = {
    async copy(button) {
      try { await navigator.clipboard.writeText(button.dataset.copy); } catch { return toast('Copying is blocked by the browser', { error: true }); }
      const use = find('use', button), before = use?.getAttribute('href');
      button.dataset.done = '';
      use?.setAttribute('href', icon('check'));
      setTimeout(() => { delete button.dataset.done; use?.setAttribute('href', before); }, 1400);
      if (!button.classList.contains('copy')) toast('Copied');
    },
    dismiss(button) { button.closest('.toast').remove(); },
    back() { history.back(); },
    reload() { location.reload(); },
    stay() { askSession('POST'); },
    themePick(button) {
      const theme = button.dataset.themePick, root = document.documentElement;
      if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
      try { theme ? localStorage.setItem('theme', theme) : localStorage.removeItem('theme'); } catch { /* it lasts for this page then */ }
      showTheme();
    },
    keysToggle(box) { try { localStorage.setItem('keys', box.checked ? 'on' : 'off'); } catch { /* as before then */ } },
    href(element) { location.href = element.dataset.href; },
  };
  on('click', (event) => {
    const element = event.target.closest('[data-copy], [data-dismiss], [data-back], [data-reload], [data-stay], [data-theme-pick], [data-keys-toggle], [data-href]');
    for (const name of Object.keys(actions)) if (element && name in element.dataset) return actions[name](element);
  });

  // Times are shown where one is.
  try {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (/^[\w/+-]+$/.test(zone)) document.cookie = `zone=${zone}; Path=/; Max-Age=31536000; SameSite=Lax`;
  } catch { /* then in UTC */ }

  // Which theme is chosen, and whether single keys are on.
  function showTheme() {
    const chosen = document.documentElement.dataset.theme ?? '';
    for (const button of all('[data-theme-pick]')) button.setAttribute('aria-pressed', String(button.dataset.themePick === chosen));
  }
  showTheme();

  // A form sent without a connection would be lost with its page: it stays, with what was typed.
  on('submit', (event) => {
    if (navigator.onLine || event.defaultPrevented) return;
    event.preventDefault();
    toast('Not sent: there is no connection', { detail: 'What you typed stays here. Send it again when the connection is back.', error: true });
  });

  // The session ends: said two minutes before, and asked first, since another tab may have been used meanwhile.
  const session = find('#session'), WARN_S = 120;
  let sessionTimer;
  function sessionEnds(left) {
    clearTimeout(sessionTimer);
    session.hidden = left > WARN_S;
    if (left <= 0) { find('span', session).textContent = session.dataset.over; find('button', session)?.remove(); return; }
    sessionTimer = setTimeout(() => askSession('GET'), (left > WARN_S ? left - WARN_S : left) * 1000);
  }
  async function askSession(method) {
    try {
      const answer = await fetch('/session', { method, redirect: 'manual', headers: { 'X-CSRF-Token': meta('csrf') } });
      sessionEnds(answer.ok ? Number(await answer.text()) : 0);
    } catch { sessionTimer = setTimeout(() => askSession('GET'), 10_000); }
  }
  if (session) sessionEnds(Number(session.dataset.left));

  // Invoker commands, where the browser has none.
  if (!('command' in HTMLButtonElement.prototype)) {
    on('click', (event) => {
      const button = event.target.closest('[commandfor]');
      const dialog = button && document.getElementById(button.getAttribute('commandfor'));
      if (dialog) button.getAttribute('command') === 'show-modal' ? dialog.showModal() : dialog.close();
    });
  }

  // A dialog that the address names is open when the page is: #dialog-id.
  if (location.hash.length > 1) {
    const named = document.getElementById(location.hash.slice(1));
    if (named?.tagName === 'DIALOG') named.showModal();
  }

  // What a bar of a chart stands for, beside the pointer.
  on('pointermove', (event) => {
    const plot = event.target.closest?.('[data-chart] .chart-plot');
    for (const other of all('.tip')) if (other.parentElement !== plot) other.remove();
    if (!plot) return;
    const bar = event.target.closest('.hit');
    let tip = find('.tip', plot);
    if (!bar) return tip?.remove();
    if (!tip) plot.append(tip = Object.assign(document.createElement('div'), { className: 'tip' }));
    const [head, ...lines] = bar.dataset.tip.split('|');
    const line = (name, text) => Object.assign(document.createElement(name), { textContent: text });
    tip.replaceChildren(line('b', head), ...lines.map((text) => line('div', text)));
    const box = plot.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX - box.left + 12, box.width - tip.offsetWidth)}px`;
    tip.style.top = '4px';
  });

  // The command palette: a combobox over a listbox.
  const palette = find('#palette'), input = palette && find('input', palette), list = palette && find('[role="listbox"]', palette);
  const options = () => all('[role="option"]', list).filter((option) => !option.hidden);
  function choose(chosen) {
    for (const option of all('[role="option"]', list)) option.setAttribute('aria-selected', String(option === chosen));
    if (chosen) {
      input.setAttribute('aria-activedescendant', chosen.id);
      chosen.scrollIntoView({ block: 'nearest' });
    } else input.removeAttribute('aria-activedescendant');
  }
  const found = palette && find('#palette-found', palette), nothing = palette && find('#palette-none', palette);
  let asking, asked = 0;
  function filter() {
    const wanted = input.value.trim().toLowerCase();
    for (const group of all('[role="group"]', list)) {
      const own = all('[role="option"]', group);
      if (group !== found) for (const option of own) option.hidden = !option.textContent.toLowerCase().includes(wanted);
      group.hidden = own.every((option) => option.hidden);
    }
    nothing.hidden = options().length > 0 || wanted === '';
    choose(options()[0]);
  }
  // What the server finds comes a moment later; an answer to what is no longer asked is dropped.
  function ask() {
    clearTimeout(asking);
    const wanted = input.value.trim(), turn = ++asked;
    if (!wanted) { found.replaceChildren(); return filter(); }
    asking = setTimeout(async () => {
      try {
        const answer = await fetch(`${palette.dataset.find}?q=${encodeURIComponent(wanted)}`, { headers: { 'HX-Request': 'true' } });
        if (answer.ok && turn === asked) { found.innerHTML = await answer.text(); filter(); }
      } catch { /* what stands there already can still be chosen */ }
    }, 120);
  }
  if (palette) {
    input.addEventListener('input', ask);
    input.addEventListener('input', filter);
    input.addEventListener('keydown', (event) => {
      const shown = options(), at = shown.findIndex((option) => option.getAttribute('aria-selected') === 'true');
      if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
        event.preventDefault();
        choose(shown[(at + (event.key === 'ArrowDown' ? 1 : -1) + shown.length) % shown.length]);
      }
      if (event.key === 'Enter' && shown[at]) {
        event.preventDefault();
        location.href = shown[at].dataset.href;
      }
    });
    // Without this the hidden field would keep the focus, and swallow the keys.
    palette.addEventListener('close', () => input.blur());
    // `toggle` would come only after the first letters of a fast typist, and take them away again.
    palette.addEventListener('beforetoggle', (event) => { if (event.newState === 'open') { input.value = ''; ask(); } });
  }

  if (!/Mac|iP/.test(navigator.platform)) for (const key of all('kbd')) key.textContent = key.textContent.replace(/^⌘ ?/, 'Ctrl ');

  // Keys: ⌘K, /, J K, G and a letter, ?. None of the single ones in a field or a dialog, or where they are turned off.
  // A key pressed in the policy editor comes from inside its shadow root: outside, the target is only the host.
  const isTyping = (target) => target.closest?.('input, textarea, select, [contenteditable]');
  const keysOff = () => { try { return localStorage.getItem('keys') === 'off'; } catch { return false; } };
  const keysBox = find('[data-keys-toggle]');
  if (keysBox) keysBox.checked = !keysOff();
  let goSince = 0, newSince = 0;
  on('keydown', (event) => {
    if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === 'k' && palette) {
      event.preventDefault();
      return palette.open ? palette.close() : palette.showModal();
    }
    if (event.metaKey || event.ctrlKey || event.altKey || isTyping(event.composedPath()[0]) || find('dialog[open]') || keysOff()) return;
    const key = event.key.toLowerCase();
    if (Date.now() - goSince < 900) {
      goSince = 0;
      const link = find(`.nav a[data-key="${CSS.escape(key)}"]`);
      if (link) location.href = link.href;
      return;
    }
    if (Date.now() - newSince < 900) {
      newSince = 0;
      const deed = all('#palette [id^="do-"]').find((option) => find('kbd:last-child', option)?.textContent.toLowerCase() === key);
      if (deed) location.href = deed.dataset.href;
      return;
    }
    if (key === 'g') goSince = Date.now();
    if (key === 'n') newSince = Date.now();
    if (key === '?') find('#keys')?.showModal();
    if (key === '/') {
      const search = find('[role="search"] input');
      if (search) { event.preventDefault(); search.focus(); }
    }
    if (key === 'j' || key === 'k') {
      // Beside an open record the next one opens.
      const beside = find(`#inspector [data-${key === 'j' ? 'next' : 'previous'}]`);
      if (beside) return beside.click();
      const rows = all('.rowlink');
      const next = rows.indexOf(document.activeElement) + (key === 'j' ? 1 : -1);
      rows[Math.max(0, Math.min(rows.length - 1, next))]?.focus();
    }
    if (key === ' ' && find('[data-pause]')) { event.preventDefault(); find('[data-pause]').click(); }
    if (key === 'escape') find('[data-close]')?.click();
  });

  // What was open beside a table is closed: one goes on from its row.
  on('click', (event) => {
    if (event.target.closest('[data-close]')) find('tr[aria-selected="true"] .rowlink')?.focus({ preventScroll: true });
  });

  // A live tail keeps so many rows: <tbody data-keep="500">.
  for (const body of all('[data-keep]')) {
    new MutationObserver(() => { while (body.rows.length > Number(body.dataset.keep)) body.rows[body.rows.length - 1].remove(); }).observe(body, { childList: true });
  }
})();
