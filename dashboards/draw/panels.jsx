// Draws one dashboard from its JSON and the answers of a real Prometheus (window.drawing, see draw.py), with Grafana's own
// components where @grafana/ui has them: PanelChrome, BigValue, TimeSeries, BarGauge, Table, VizLegend, and its units, colours,
// mappings and transformations. State timelines and heat maps are part of the Grafana application and on no registry:
// those two are drawn here, with Grafana's field display and theme.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';
import { CompatRouter } from 'react-router-dom-v5-compat';
import {
  applyFieldOverrides, createTheme, dateTime, FieldType, getDisplayProcessor, getFieldDisplayName, Registry,
  standardFieldConfigEditorRegistry, standardTransformers, standardTransformersRegistry, ThemeContext, toDataFrame,
  transformDataFrame,
} from '@grafana/data';
import {
  BarGauge, BigValue, GlobalStyles, PanelChrome, Table, TimeSeries,
} from '@grafana/ui';
import { lastValueFrom } from 'rxjs';

const theme = createTheme({ colors: { mode: 'dark' } });
const drawing = window.drawing;
const CELL = 30, GAP = 8, WIDTH = 1680;

// Without entries here, units, colours and mappings are silently ignored.
const known = ['unit', 'decimals', 'min', 'max', 'mappings', 'thresholds', 'color', 'noValue', 'links', 'displayName', 'description'];
const customs = ['width', 'minWidth', 'align', 'cellOptions', 'hidden', 'inspect', 'filterable', 'lineWidth', 'fillOpacity', 'showPoints',
  'drawStyle', 'lineInterpolation', 'spanNulls', 'axisPlacement', 'axisLabel', 'axisColorMode', 'scaleDistribution', 'stacking', 'gradientMode',
  'pointSize', 'hideFrom', 'thresholdsStyle', 'axisSoftMin', 'axisSoftMax', 'barAlignment'];
const property = (id, isCustom) => ({
  id: isCustom ? `custom.${id}` : id, path: id, isCustom, name: id, description: '', settings: {},
  process: (value) => value, shouldApply: () => true, override: () => null, editor: () => null, getItemsCount: () => 0,
});
const registry = new Registry(() => [...known.map((id) => property(id, false)), ...customs.map((id) => property(id, true))]);
standardFieldConfigEditorRegistry.setInit(() => known.map((id) => property(id, false)));
standardTransformersRegistry.setInit(() =>
  [...new Map(Object.values(standardTransformers).map((one) => [one.id, one])).values()].map((transformation) => ({
    id: transformation.id, name: transformation.id, transformation: () => Promise.resolve(transformation), editor: () => null, aliasIds: [],
  })));

const legendOf = (target, labels) => {
  const format = target.legendFormat;
  if (!format || format === '__auto') return Object.values(labels).join(' ') || target.expr;
  return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '');
};
const parsed = (text) => (text === '+Inf' ? Infinity : text === 'NaN' ? null : Number(text));

// The frames that Grafana's Prometheus data source makes of an answer.
function frames(panel) {
  const series = [];
  panel.targets.forEach((target, index) => {
    const refId = String.fromCharCode(65 + index);
    const result = drawing.results[`${panel.id}/${index}`] ?? [];
    if (target.format === 'table') {
      const names = [...new Set(result.flatMap((row) => Object.keys(row.metric)))].filter((name) => name !== '__name__').sort();
      const value = panel.targets.length > 1 ? `Value #${refId}` : 'Value';
      series.push(toDataFrame({
        refId,
        fields: [
          { name: 'Time', type: FieldType.time, values: result.map((row) => row.value[0] * 1000) },
          ...names.map((name) => ({ name, type: FieldType.string, values: result.map((row) => row.metric[name] ?? '') })),
          { name: value, type: FieldType.number, values: result.map((row) => parsed(row.value[1])) },
        ],
      }));
      return;
    }
    for (const row of result) {
      const points = row.values ?? [row.value];
      series.push(toDataFrame({
        refId,
        fields: [
          { name: 'Time', type: FieldType.time, config: {}, values: points.map(([at]) => at * 1000) },
          {
            name: 'Value', type: FieldType.number, labels: row.metric, config: { displayNameFromDS: legendOf(target, row.metric) },
            values: points.map(([, value]) => parsed(value)),
          },
        ],
      }));
    }
  });
  return series;
}

// As Grafana does when it loads a dashboard: the first step counts from minus infinity, which JSON cannot say.
function loaded(config) {
  const copy = structuredClone(config);
  if (copy.defaults?.thresholds?.steps?.length) copy.defaults.thresholds.steps[0].value = -Infinity;
  return copy;
}

async function prepared(panel) {
  let data = frames(panel);
  if (panel.transformations?.length) data = await lastValueFrom(transformDataFrame(panel.transformations, data));
  return applyFieldOverrides({
    data, fieldConfig: loaded(panel.fieldConfig ?? { defaults: {}, overrides: [] }), replaceVariables: (text) => text, theme,
    timeZone: 'utc', fieldConfigRegistry: registry,
  });
}

const from = drawing.from * 1000, to = drawing.to * 1000;
const timeRange = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };
const valueField = (frame) => frame.fields.find((field) => field.type === FieldType.number);
const display = (field) => field.display ?? getDisplayProcessor({ field, theme });

function Stat({ data, panel, width, height }) {
  const fields = data.map(valueField).filter(Boolean);
  if (!fields.length) return <Empty text={panel.fieldConfig?.defaults?.noValue ?? 'No data'} />;
  return fields.slice(0, 1).map((field, index) => {
    const value = display(field)(field.values[field.values.length - 1]);
    return (
      <BigValue key={index} value={value} width={width} height={height} theme={theme} colorMode={panel.options.colorMode}
        graphMode="none" textMode={panel.options.textMode} justifyMode="auto" />
    );
  });
}

function Lines({ data, panel, width, height }) {
  if (!data.length) return <Empty text="No data" />;
  data.forEach((frame) => frame.fields.forEach((field) => { field.config.custom = { drawStyle: 'line', lineInterpolation: 'linear', showPoints: 'never', ...field.config.custom }; }));
  return <TimeSeries frames={data} structureRev={1} timeRange={timeRange} timeZone="utc" width={width} height={height} legend={panel.options.legend} />;
}

function Bars({ data, panel, width, height }) {
  const fields = data.map(valueField).filter(Boolean);
  if (!fields.length) return <Empty text={panel.fieldConfig?.defaults?.noValue ?? 'No data'} />;
  const each = Math.min(28, height / fields.length - 4);
  return fields.map((field, index) => {
    const value = display(field)(field.values[field.values.length - 1]);
    const text = getFieldDisplayName(field, data[index], data);
    return (
      <div key={text} style={{ marginBottom: 4 }}>
        <BarGauge value={{ ...value, title: text }} field={field.config} display={display(field)} width={width} height={each} theme={theme}
          orientation="horizontal" displayMode={panel.options.displayMode} valueDisplayMode="color" itemSpacing={4} lcdCellWidth={12}
          alignmentFactors={{ title: 'web-server-on-the-port', text: '100.0%' }} text={{ titleSize: 13, valueSize: 14 }} />
      </div>
    );
  });
}

function Rows({ data, panel, width, height }) {
  const frame = data[0];
  if (!frame?.length) return <Empty text={panel.fieldConfig?.defaults?.noValue ?? 'No data'} />;
  return <Table data={frame} width={width} height={height} initialSortBy={panel.options.sortBy} timeRange={timeRange} cellHeight="sm" showTypeIcons={false} />;
}

const Empty = ({ text }) => <div style={{ color: theme.colors.text.secondary, textAlign: 'center', paddingTop: 24 }}>{text}</div>;

// A bar a series; equal neighbours are one.
function Timeline({ data, panel, width, height }) {
  const rows = data.filter(valueField);
  if (!rows.length) return <Empty text="No data" />;
  const names = rows.map((frame) => getFieldDisplayName(valueField(frame), frame, data));
  const left = Math.min(240, 16 + 7.2 * Math.max(...names.map((name) => name.length)));
  const band = (height - 24) / rows.length;
  const thick = band * (panel.options.rowHeight ?? 0.9);
  const x = (at) => left + ((at - from) / (to - from)) * (width - left);
  return (
    <svg width={width} height={height} fontSize={12} fill={theme.colors.text.primary}>
      {rows.map((frame, row) => {
        const times = frame.fields[0].values, field = valueField(frame), gap = drawing.step * 2500;
        const runs = [];
        times.forEach((at, index) => {
          const last = runs[runs.length - 1], value = field.values[index];
          if (last && last.value === value && at - last.end < gap) last.end = at;
          else {
            if (last && at - last.end < gap) last.end = at;
            runs.push({ value, start: at, end: at + drawing.step * 1000 });
          }
        });
        return (
          <g key={row}>
            <text x={left - 8} y={row * band + band / 2 + 4} textAnchor="end">{names[row]}</text>
            {runs.map((run, index) => {
              const shown = display(field)(run.value), wide = Math.max(1, x(Math.min(run.end, to)) - x(run.start));
              return (
                <g key={index}>
                  <rect x={x(run.start)} y={row * band + (band - thick) / 2} width={wide} height={thick} fill={shown.color} opacity={0.85} />
                  {panel.options.showValue !== 'never' && wide > 7 * shown.text.length && thick > 13 &&
                    <text x={x(run.start) + 6} y={row * band + band / 2 + 4} fill={theme.colors.getContrastText(shown.color)}>{shown.text}</text>}
                </g>
              );
            })}
          </g>
        );
      })}
      <Times x={x} y={height - 6} />
    </svg>
  );
}

const Times = ({ x, y }) =>
  [0.05, 0.25, 0.5, 0.75, 0.95].map((part) => {
    const at = from + part * (to - from);
    return <text key={part} x={x(at)} y={y} textAnchor="middle" fill={theme.colors.text.secondary}>{new Date(at).toISOString().slice(11, 16)}</text>;
  });

// Cumulative buckets to a heat map; the scheme Blues of d3 in a few steps.
function Heat({ data, width, height }) {
  const rows = data.filter(valueField).map((frame) => ({ le: parsed(valueField(frame).labels.le), times: frame.fields[0].values, values: valueField(frame).values }))
    .sort((one, other) => one.le - other.le);
  if (!rows.length) return <Empty text="No data" />;
  const counts = rows.map((row, index) => row.times.map((at, point) => {
    const below = index ? rows[index - 1].values[rows[index - 1].times.indexOf(at)] ?? 0 : 0;
    return { at, count: Math.max(0, row.values[point] - below) };
  }));
  const most = Math.max(...counts.flat().map(({ count }) => count), 1e-9);
  const left = 64, band = (height - 24) / rows.length;
  const x = (at) => left + ((at - from) / (to - from)) * (width - left);
  const format = display({ config: { unit: 's' }, type: FieldType.number, values: [], name: '' });
  const blue = (part) => `rgb(${Math.round(8 + 70 * (1 - part))}, ${Math.round(48 + 130 * part)}, ${Math.round(107 + 130 * part)})`;
  const every = Math.min(...rows[0].times.slice(1).map((at, index) => at - rows[0].times[index]));
  const wide = Math.max(2, (every / (to - from)) * (width - left) - 1);
  return (
    <svg width={width} height={height} fontSize={11} fill={theme.colors.text.secondary}>
      {rows.map((row, index) => {
        const y = height - 24 - (index + 1) * band;
        const shown = format(row.le);
        return (
          <g key={row.le}>
            {index % 2 === 0 && <text x={left - 8} y={Math.max(10, y + 4)} textAnchor="end">{row.le === Infinity ? '+Inf' : `${shown.text}${shown.suffix ?? ''}`}</text>}
            {counts[index].filter(({ count }) => count > 0.01).map(({ at, count }) =>
              <rect key={at} x={x(at) - wide} y={y} width={wide} height={band - 1} fill={blue(count / most)} />)}
          </g>
        );
      })}
      <Times x={x} y={height - 6} />
    </svg>
  );
}

// A panel that cannot be drawn says why in its place.
class Caught extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  render() { return this.state.error ? <pre style={{ color: 'red', fontSize: 11 }}>{this.state.error.stack}</pre> : this.props.children; }
}

const KINDS = { stat: Stat, timeseries: Lines, bargauge: Bars, table: Rows, 'state-timeline': Timeline, heatmap: Heat };

function Placed({ panel, data }) {
  const unit = (WIDTH - 25 * GAP) / 24, place = panel.gridPos;
  const width = place.w * unit + (place.w - 1) * GAP, height = place.h * CELL + (place.h - 1) * GAP;
  const style = { position: 'absolute', left: GAP + place.x * (unit + GAP), top: GAP + place.y * (CELL + GAP), width, height };
  if (panel.type === 'row') return <div style={{ ...style, fontSize: 16, fontWeight: 500, color: theme.colors.text.primary, paddingTop: 6 }}>{panel.title}</div>;
  const Kind = KINDS[panel.type];
  return (
    <div style={style}>
      <PanelChrome title={panel.title} width={width} height={height} padding="md">
        {(innerWidth, innerHeight) => (
          <Caught><Kind data={data} panel={panel} width={innerWidth} height={innerHeight} /></Caught>
        )}
      </PanelChrome>
    </div>
  );
}

async function draw() {
  const panels = drawing.dashboard.panels;
  const data = await Promise.all(panels.map((panel) => (panel.targets ? prepared(panel) : [])));
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * (CELL + GAP) + GAP;
  document.body.style.cssText = `margin:0;background:${theme.colors.background.canvas};font-family:${theme.typography.fontFamily};color:${theme.colors.text.primary}`;
  const place = document.getElementById('dashboard');
  place.style.cssText = `position:relative;width:${WIDTH}px;height:${bottom}px`;
  createRoot(place).render(
    <MemoryRouter><CompatRouter><ThemeContext.Provider value={theme}>
      <GlobalStyles />
      {panels.map((panel, index) => <Placed key={panel.id} panel={panel} data={data[index]} />)}
    </ThemeContext.Provider></CompatRouter></MemoryRouter>,
  );
}

draw().catch((error) => { document.body.textContent = error.stack; });
